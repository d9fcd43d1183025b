"""HTTPStore: any web server, WebDAV, redirects, who gets which headers."""
