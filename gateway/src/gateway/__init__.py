"""The public side of Thorax: uploads, jobs, images, the page."""
