"""A libvirt cluster on one machine: hosts that are namespaces, each with a libvirtd and with guests of its own.

`laboratory.py` raises it from a root file system of its own (`image.py`) and a guest that we build (`guest.py`);
nothing is installed on the machine and no service started. Guests run without KVM, so it works in a VM too, slowly.
"""
