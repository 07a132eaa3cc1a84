"""Airflow's plugin: its pages and its API are called by known names alone, and nobody puts a frame around them."""

from airflow.plugins_manager import AirflowPlugin

from pipeline.serving.pages.airflow_guard import guarded


class Guard(AirflowPlugin):
    """Airflow adds the middleware to its API server; its other processes read the name alone."""

    name = "recur_guard"
    fastapi_root_middlewares = [{"name": "recur_guard", "middleware": guarded}]  # noqa: RUF012
