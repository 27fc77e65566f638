"""Hostile files, faulty servers, damaged sets, killed writers: campaigns, and a small seeded version of each."""
