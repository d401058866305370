"""Serves the portal; told by its unit's `YIWANG_…` variables."""

from services.kernel.server import serve
from services.portal.app import PortalSettings, create

if __name__ == "__main__":
    serve(create(PortalSettings()))
