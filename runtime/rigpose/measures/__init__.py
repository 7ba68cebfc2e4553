"""How far poses and boxes lie apart, from each other and from labels."""
