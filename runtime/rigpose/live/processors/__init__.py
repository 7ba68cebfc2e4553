"""Code of the user's own on live poses, and the face of DeepLabCut-Live for code that was written for it."""
