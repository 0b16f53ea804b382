# embedded
