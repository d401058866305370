"""Progress of a case for anybody with its check code."""
