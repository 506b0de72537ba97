"""A configuration of gunicorn: patched before anything is loaded, as gevent asks for."""

from gevent import monkey

monkey.patch_all()
