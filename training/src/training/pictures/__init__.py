"""Pictures for the picture test: chest radiographs as they may arrive, and others. Grey uint8 arrays.

Everything random is drawn from the generator passed in, so that a seed names a set.
"""
