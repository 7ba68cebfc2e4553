"""What lies in a bundle: manifest, golden frames, certificate, contract, engines."""
