"""This computer made into three regions of machines: network, nodes, disks, instance metadata. It knows no AWS."""
