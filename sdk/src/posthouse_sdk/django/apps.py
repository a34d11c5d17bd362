"""The app as Django knows it."""

from __future__ import annotations

from django.apps import AppConfig


class PosthouseConfig(AppConfig):
    name = "posthouse_sdk.django"
    label = "posthouse"
    verbose_name = "Posthouse"
    default_auto_field = "django.db.models.BigAutoField"
