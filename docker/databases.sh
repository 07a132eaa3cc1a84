#!/bin/sh
# Run once by PostgreSQL's image, as its superuser, when its volume is empty: a database for each part that keeps state
# in one, owned by a role that may do nothing else; and the role under which analysts' SQL reads the views.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv airflow AIRFLOW_DATABASE_PASSWORD
\getenv mlflow MLFLOW_DATABASE_PASSWORD
\getenv predictions PREDICTIONS_DATABASE_PASSWORD
create role airflow login password :'airflow';
create role mlflow login password :'mlflow';
create role predictions login password :'predictions';
create database airflow owner airflow;
create database mlflow owner mlflow;
create database predictions owner predictions;
revoke all on database airflow, mlflow, predictions from public;
create role recur_reader nologin;
grant recur_reader to predictions;
SQL
