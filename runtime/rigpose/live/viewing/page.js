"use strict";

const STATUS_PERIOD = 200, PICTURE_PERIOD = 66, PATIENCE = 3000;
const place = (id) => document.getElementById(id);
const figure = place("picture").closest("figure"), choice = place("camera");
const told = {};
let image = place("picture"), failures = 0, lastPicture = "", lastNew = performance.now();

async function get(address) {
  const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`the run answered ${answer.status}`);
  return answer;
}

function put(parts) {
  for (const [id, html] of Object.entries(parts)) {
    // What has not changed stays: a reader may be selecting it.
    if (told[id] === html) continue;
    told[id] = html;
    place(id).innerHTML = html;
  }
}

function offer(cameras) {
  const known = Array.from(choice.options, (option) => option.value);
  if (known.join("\n") !== cameras.join("\n")) {
    const chosen = choice.value;
    choice.replaceChildren(...cameras.map((name) => new Option(name, name)));
    choice.value = cameras.includes(chosen) ? chosen : cameras[0] ?? "";
  }
  place("choice").hidden = cameras.length < 2;
}

async function showStatus() {
  if (document.hidden) return;
  const status = await (await get("status.json")).json();
  put(status.parts);
  offer(status.cameras);
  place("state").className = `state ${status.state}`;
  document.title = `${status.state} · rigpose live`;
}

async function showPicture() {
  const camera = choice.value;
  if (document.hidden || !camera) return;
  const answer = await get(`picture.jpg?camera=${encodeURIComponent(camera)}&after=${lastPicture}`);
  if (answer.status === 200) {
    const about = JSON.parse(answer.headers.get("X-Picture"));
    // Made beside the old picture and put in its place when decoded: an image that is given a new source is blank until
    // then.
    const next = image.cloneNode();
    next.src = URL.createObjectURL(await answer.blob());
    await next.decode();
    next.hidden = false;
    URL.revokeObjectURL(image.src);
    image.replaceWith(next);
    image = next;
    image.parentElement.classList.add("filled");
    lastPicture = about.picture;
    lastNew = performance.now();
    const animals = about.animals === 1 ? "1 animal" : `${about.animals} animals`;
    const name = choice.options.length > 1 ? "" : `${camera} · `;
    place("caption").textContent =
      `${name}frame ${about.frame.toLocaleString("en")} · ${animals} · poses ${about.age} ms after exposure`;
    place("key").hidden = about.lead === null;
    place("lead").textContent = about.lead;
  }
  const since = (performance.now() - lastNew) / 1000;
  figure.classList.toggle("old", since > 2 && !image.hidden);
  if (since > 2 && !image.hidden) place("caption").textContent = `No new picture for ${Math.floor(since)} s`;
}

async function again(step, period) {
  let wait = period;
  try {
    await step();
    failures = 0;
    place("lost").hidden = true;
  } catch (error) {
    failures += 1;
    wait = 1000;
    place("lost").hidden = failures < 2;
    place("lost").textContent = "No answer from the run. These are its last numbers.";
  }
  // A run that has ended does not come back under this address.
  if (failures < 10) setTimeout(again, wait, step, period);
  else place("lost").textContent = "The run has ended. These are its last numbers.";
}

choice.addEventListener("change", () => { lastPicture = ""; lastNew = performance.now(); });
again(showStatus, STATUS_PERIOD);
again(showPicture, PICTURE_PERIOD);
