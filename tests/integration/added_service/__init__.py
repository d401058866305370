"""What is tried of a service that was added; `test_adding_a_service.py` runs it in the copy that has the service."""
