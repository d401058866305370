"""One component a file. Child names are the component's name and a stable suffix; a rename is a replacement."""
