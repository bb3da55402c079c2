"""What a person does with a model, without a user interface: services, jobs, tables, figures."""
