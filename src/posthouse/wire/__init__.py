"""What goes over the wire. Pure: (event, endpoint, time) in, request bytes out; an answer in, what is kept out."""
