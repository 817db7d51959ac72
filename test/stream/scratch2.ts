// reconnection by hand
