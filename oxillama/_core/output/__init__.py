"""What a request has produced so far, as others read it."""
