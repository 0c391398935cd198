"""The producer: Wikimedia EventStreams (SSE) into Kafka, without a loss.

`source` reads the socket, `framing` cuts complete frames, `relay` hands them to `sink` and follows the
acknowledgements; `watermark` and `cursor` decide where the next connection begins. `app` wires them.
"""
