"""The Gateway Monitoring page: what the console shows of gateways, live, with its two buttons."""
