"""The one public door: uploads, jobs, images, the page."""
