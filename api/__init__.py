"""The HTTP surface. Thin: it decodes, asks `adapter`, and words the answer. Never imports torch."""
