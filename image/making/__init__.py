"""The steps of `make image`, in order: tools and keys, what is staged, mkosi, the results.

`image/build.py` joins them.
"""
