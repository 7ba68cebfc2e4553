"""Which frames of an analysed video are worth labelling: where the poses look wrong, or rare."""
