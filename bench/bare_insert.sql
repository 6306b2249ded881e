INSERT INTO bare.request (module, version) VALUES ('m0', 'v0');
