"""What a platform does with a gateway: store, sessions, check."""
