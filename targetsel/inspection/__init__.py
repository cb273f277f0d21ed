"""Pages on which people inspect targets, and their notes."""

PORT = 8765  # on 127.0.0.1, of a page that is served
INDEX = "index.html"
