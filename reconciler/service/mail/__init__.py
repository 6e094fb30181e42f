"""Mail through gateways: what goes out, what comes in, and who is told."""
