"""Pages to look at: what was analysed, exported or trained, each as one HTML file that needs nothing but a browser."""
