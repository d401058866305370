"""Serves the portal; told by its unit's `YIWANG_…` variables."""

from services.kernel.server import serve
from services.kernel.settings import ServiceSettings
from services.portal.app import create

if __name__ == "__main__":
    serve(create(ServiceSettings()))
