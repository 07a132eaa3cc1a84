-- Run once by PostgreSQL, when its volume is empty: one database for each part that keeps state in one.
create database airflow;
create database mlflow;
create database predictions;
