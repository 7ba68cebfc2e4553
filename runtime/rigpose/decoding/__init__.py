"""Video files -> frames in colour: one file per decoder, all giving the same frames bit for bit."""
