"""What a changed contract or spec would do, told before it is deployed."""
