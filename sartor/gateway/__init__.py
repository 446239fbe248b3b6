"""Ship: the OpenAI protocol."""
