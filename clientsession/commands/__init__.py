"""What the ``clientsession`` command does beside making keys and serving the demo: one module for each command."""
