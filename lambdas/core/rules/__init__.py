"""The rules by subject: hosts, disks, services, copies, the front and what people ordered. Numbers give the order."""
