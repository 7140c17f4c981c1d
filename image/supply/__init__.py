"""What the image is made of, who wrote it under which licence: the bill of materials and the list of licences.

Takes a finished tree, the .deb files and the wheels that it was made from; gives `Component`s, and out of them
CycloneDX and a text. `finalize/15-supply` calls it. Python 3.11 or later, no packages: it runs in the tools tree.
"""
