"""What a processor can compute with, and which backend and precision is fastest on it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

_KNOWN = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "asimddp": "int8 dot products",
    "i8mm": "int8 matrices",
    "bf16": "bf16",
}


@dataclass(frozen=True)
class Processor:
    """A processor, as far as the operating system tells.

    Attributes:
        name: For people.
        flags: Instruction sets, in the words of Linux; empty on other systems.
    """

    name: str
    flags: frozenset[str]

    @classmethod
    def here(cls, file: Path = Path("/proc/cpuinfo")) -> Processor:
        """Of this machine."""
        if not file.exists():
            return cls(platform.processor() or platform.machine(), frozenset())
        fields: dict[str, str] = {}
        for line in file.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
        flags = fields.get("flags", fields.get("Features", ""))
        return cls(fields.get("model name", platform.machine()), frozenset(flags.split()))

    def __str__(self) -> str:
        sets = [words for flag, words in _KNOWN.items() if flag in self.flags]
        return f"{self.name} ({', '.join(sets)})" if sets else self.name

    @property
    def advice(self) -> str:
        """The fastest precisions against ONNX Runtime in fp32, measured on ResNet-50 and HRNet pose networks.

        int8 and bf16 cost accuracy, which the bundle's certificate and ``rigpose check`` state.
        """
        has = self.flags
        if {"amx_bf16", "amx_int8"} <= has:
            return (
                "its AMX makes --backend openvino about 4 to 6 times as fast with --precision bf16, and 5 to 9 times "
                "with int8 (3 times with onnxruntime)."
            )
        vnni = has & {"avx512_vnni", "avx_vnni"}
        if vnni and "avx512_bf16" in has:
            return (
                "its VNNI makes --backend openvino --precision int8 about 2.5 to 4 times as fast; --precision bf16, "
                "without AMX, was 1.2 to 2.2 times as fast on an AMD EPYC and slower than fp32 on an Intel Xeon: "
                "--precision auto measures it."
            )
        if vnni:
            return (
                "its VNNI makes --backend openvino --precision int8 about 2.5 to 4 times as fast (2 to 3 times with "
                "onnxruntime); it has no bf16."
            )
        if "avx2" in has:
            return "without VNNI, int8 about halves the time (--backend openvino --precision int8); it has no bf16."
        return "nothing is known that is faster than fp32."
