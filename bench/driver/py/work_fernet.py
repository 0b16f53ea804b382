"""Imports cryptography.fernet, which needs extension modules, when it is imported itself."""
import cryptography.fernet


def loaded():
    return len(cryptography.fernet.Fernet.generate_key())
