@SCH-4 @API-1 @DOC-1
Feature: Sessions
  Jobs of one session run one at a time, in the order they came. What a new one does while the session is busy, it
  says itself: it is refused, it waits, it interrupts, or it replaces.

  Scenario: Who rejects is refused while the session is busy
    Given a running job of the session
    When another job of the session is submitted, to reject
    Then the answer is 409 with the code SESSION_BUSY
    And it names the job that runs
    And nothing was stored for it
    And the job that runs is left alone

  Scenario: Who rejects is taken in when the session has no live job
    Given a job of the session that is over
    When another job of the session is submitted, to reject
    Then the answer is 202 and names the job
    And the job ends completed

  Scenario: Another session is not in the way
    Given a running job of another session
    When another job of the session is submitted, to reject
    Then the answer is 202 and names the job

  Scenario: Who is enqueued waits behind the others, also before lower classes
    Given a running job of the session
    And a waiting job of the session, of the lowest class
    When another job of the session is submitted, to enqueue
    And the slot becomes free
    Then all jobs of the session end completed, in the order they came

  Scenario: Who interrupts goes next, and what it interrupted keeps its finished steps
    Given a running job of the session, with another step to go
    And a waiting job of the session, of the lowest class
    When another job of the session is submitted, to interrupt
    And the slot becomes free
    Then the job that ran is paused after its first step
    And the new one runs before the one that waited

  Scenario: What was interrupted goes on where it stood
    Given a running job of the session, with another step to go
    And it was interrupted by a job of the session
    When the interrupted job is resumed
    Then the job ends completed
    And each of its steps ran once

  Scenario: Who replaces ends all that the session has
    Given a running job of the session
    And a waiting job of the session, of the lowest class
    When another job of the session is submitted, to replace
    Then both are canceled, replaced by the new job
    And the agent that ran is gone
    And the job ends completed
