"""Maps of local evidence for a network that is served: a small head on what its early layers say of each place.

The last layers of a classifier see the whole image at every place, so nothing keeps them from storing at the edge what
they know of the ward. Its early layers see a part of the image around a place (91 of 160 pixels at a sixteenth of the
Xception's edge), and a head of 1x1 convolutions adds nothing to that. The network's probabilities stay as they are.
"""
