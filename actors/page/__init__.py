"""The page: a service in a browser, at an address of its own or mounted in an application."""
