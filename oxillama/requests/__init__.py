"""What happens to a call between its arguments and the ring: admission, handles, streams, batches."""
