"""What is decided: plain values in, plain values out."""
