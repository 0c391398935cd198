-- Wikis whose first event was the log entry of a new account had the server of that: they are told anew by their next edit.
DELETE FROM speed.wikis WHERE server_name = 'auth.wikimedia.org';
