"""The driver for libvirt and KVM: hosts reached by URI, moved between directly, without a cloud above them.

Only `connections`, `explain` and what stands on them import the binding; it is an extra (`forewarn[libvirt]`) and is
loaded where a libvirt host is configured, nowhere else.
"""
