"""What torchvision does between a detector's maps and its boxes, in fixed shapes: candidates for any number of boxes.

torchvision drops rows where it pleases, image by image, which no portable graph can say. Here every step keeps its
rows and marks those that are no box, so that one graph serves every batch and every image.
"""
