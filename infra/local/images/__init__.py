"""Images of the local cloud: what a host boots and what managed services run."""

from infra.local.images.build import BASE_IMAGE, CLOUD_IMAGE, ImageError, build_images, images_are_current

__all__ = ["BASE_IMAGE", "CLOUD_IMAGE", "ImageError", "build_images", "images_are_current"]
