"""What a nogil function of the core reports; Python exceptions are made from it at the border."""

cdef enum ox_status:
    OX_OK = 0
    OX_NO_MEMORY = 1
    OX_INVALID = 2       # an argument outside its documented range
    OX_QUEUE_FULL = 3    # queue_size requests are already submitted and not yet running
    OX_CLOSED = 4        # no more requests are taken
    OX_TOO_LONG = 5      # the prompt can never fit the context or the whole KV pool
