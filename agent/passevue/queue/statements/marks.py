"""Statements of `queue.marks`: a few values of the store itself."""

from sqlalchemy import bindparam, insert, select, update

from passevue.queue.schema import mark

READ = select(mark.c.value).where(mark.c.name == bindparam("which"))
ADD = insert(mark).values(name=bindparam("name"), value=bindparam("value"))
SET = update(mark).where(mark.c.name == bindparam("which")).values(value=bindparam("value")).returning(mark.c.name)
